"""A bounded cache with deadlines, in a file or in Redis; knows nothing of what is kept in it."""
