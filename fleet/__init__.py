"""The operator's command line, and the fleet on one machine behind `fleet demo` and the tests."""
