"""One call: its state, who the caller is, how they are greeted, what may end it and how it ends."""
