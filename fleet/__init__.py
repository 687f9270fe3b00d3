"""The operator's command line, and the fleet on one machine for `fleet demo` and the tests."""
