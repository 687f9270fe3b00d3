"""The conversation on one connection, without the connection. Pure: frames and times in, commands and breaks out."""
