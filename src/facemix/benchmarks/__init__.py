"""Speed, memory, and what synthetic sets are worth."""
