"""Files that are mounted into the sandbox and run there by the interpreter under test.

They import the standard library only, work on every Python from 3.8, and are never imported by the
appliance itself.
"""
