"""Local: models on this machine or beside it, behind servers that speak OpenAI's chat protocol."""
