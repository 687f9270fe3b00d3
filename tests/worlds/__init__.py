"""Proofs that take their time: seeded worlds, and enumerations of all that can happen."""
