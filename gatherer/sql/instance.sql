SELECT instance FROM instance
