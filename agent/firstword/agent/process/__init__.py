"""What a process prepares before any job, and what the processes of one worker share."""
