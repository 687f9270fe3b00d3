"""The socket side: one worker a process, its connections, and the conversation on them."""
