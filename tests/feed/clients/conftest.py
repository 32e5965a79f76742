"""The scripts here belong to another environment; test_replay_server_clients.py runs them there."""

collect_ignore_glob = ["*.py"]
