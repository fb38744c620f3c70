"""The connected side: turning a git repository into a repo package.

Everything here runs where there is a network, before the air gap. It reads the project's history
and declarations without executing the project; the only foreign code that runs is that of build
backends when a distribution has no wheel, and whatever the injected proof runs in its sandbox.
"""
