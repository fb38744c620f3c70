"""The gate that a wheel passes before any installer opens it.

Installers do not look: neither pip nor uv compares a wheel with its RECORD, or minds two members of
one name. So each wheel is read here once, in this process, without writing a byte of it to disk:
`archive` reads the zip strictly, `names`, `record` and `metadata` hold it to the wheel format,
`startup` and `shadows` find what would run unasked, `clashes` looks across one environment.

What this does not protect against: code in the wheel that does harm when it is imported. That is
what the sandbox is for.
"""
