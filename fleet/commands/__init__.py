"""The commands of `fleet`, by what they are for."""
