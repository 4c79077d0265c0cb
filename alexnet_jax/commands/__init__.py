"""What a person types: one file a command, with ``main(arguments) -> exit status`` and its help as docstring."""
