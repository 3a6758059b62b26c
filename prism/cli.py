"""The command ``prism``: dispatches to training and to the analysis.

Help, version and completion do not import torch.
"""

import sys
from collections.abc import Sequence

from prism.benchmark.cli import texts
from prism.benchmark.util.boundary import answered
from prism.benchmark.util.pipes import plain_output, replace_unknown_characters
from prism.benchmark.util.versions import version


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; see ``prism --help``."""
    replace_unknown_characters()
    words = list(sys.argv[1:] if argv is None else argv)
    with plain_output():
        return answered(lambda: _command(words))


def _command(words: list[str]) -> int:
    if not words or words in (["-h"], ["--help"], ["help"]):
        print(texts.HELP if words else texts.FIRST, end="")
        return 0
    if words == ["--version"]:
        print(f"prism {version('prism-rl')}")
        return 0
    if words[0] == "complete":  # the shell calls this at every TAB
        from prism.benchmark.cli import complete

        return complete.main(words)
    command = [*words[1:], "--help"] if words[0] == "help" else words
    if command[0] in texts.READERS or command[:2] == ["list", "results"]:
        from prism.analysis.cli import main as read

        return read([command[0], *command[2:]] if command[0] == "list" else command)
    from prism.benchmark.cli.main import main as train

    return train(words)
