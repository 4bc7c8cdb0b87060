"""Sound: synthesis, joining of pieces, and the track that the caller hears."""
