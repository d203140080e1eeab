"""One module for each kind of flood: add a file, and the program finds it.

A module's docstring says in its first line what the flood does. `async def flood(target: Target)` does it, in a process
of its own, until it is cancelled; it counts what it did in `target.did`, since a flood that did nothing proves nothing.
`SETTINGS`, if there is one, is what the service is started with beside the settings of every kind.
"""
