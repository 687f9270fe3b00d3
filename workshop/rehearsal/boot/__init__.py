"""The machines that Terraform would make, booted under a real systemd in containers of Debian's."""
