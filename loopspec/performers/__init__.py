"""HANDS: each performer does one sort of effect in the world and answers with an event."""
