"""Wire: the bytes of a provider's stream, checked event by event before anything is made of them."""
