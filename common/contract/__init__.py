"""What several programs must agree on: each fact once, and all that names it derives from here. Pure."""
