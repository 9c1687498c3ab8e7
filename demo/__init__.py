"""A sandbox of real servers: PostgreSQL, a git repository, clients under load.

What a newcomer is shown and what the tests run against are the same thing, so the demo cannot rot.
"""
