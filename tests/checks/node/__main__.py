"""`python -m tests.checks.node FILE …`: run JavaScript by the project's Node, once what it may load is installed."""

import os
import sys

from tests.checks.node import install, node

install()
os.execv(node(), [node(), *sys.argv[1:]])  # noqa: S606 - it takes this process's place, its pipes and its signals
