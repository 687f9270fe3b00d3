"""The exchange's protocol as a client speaks it: frames, signatures, REST."""
