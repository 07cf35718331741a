"""``python -m tests.warm_up``: compile what most tests run, once, before several workers would each compile it."""

from kinecast.nodes.fusion.warm_up import warm_up

if __name__ == "__main__":
    warm_up(4, body="neutral", lift="off")
