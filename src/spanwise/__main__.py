"""``python -m spanwise`` is the ``spanwise`` command."""

from spanwise.commands.main import main

main()
