"""The status page of a process: three files without a build step, and where what they show comes from."""
