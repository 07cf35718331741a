"""The page: what every camera sees, the people in 3D and how every node does, in a browser.

``node`` is the process; ``server`` serves the page and its WebSocket, behind ``guard``; ``feed`` turns messages of the
bus into what the page draws; ``three`` fetches the library that draws in 3D. ``page`` holds what the browser loads.
"""
