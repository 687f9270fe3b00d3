"""Programs that run in environments of their own, with other people's clients, against the simulator.

Each is started as `PYTHON FILE ASK`: ASK is a JSON file with the simulator's address and what to ask it for. Each
prints one JSON line a call: its name, and the error if the client's models refused the answer.
"""
