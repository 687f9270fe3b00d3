"""The socket side: one worker a process, its connections, and what is said on them."""
