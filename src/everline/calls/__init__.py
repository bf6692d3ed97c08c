"""What a call is: events, their merge, state, indicators, ladder. Pure: no I/O, no clock."""
