"""`python -m rookery.agent.cli`, for where the command `rookery` is not on the path."""

from .main import main

main()
