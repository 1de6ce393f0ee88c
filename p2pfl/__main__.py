"""`python -m p2pfl` is `p2pfl`."""

from p2pfl.cli import run

if __name__ == "__main__":
    run()
