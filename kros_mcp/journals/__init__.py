"""Where the journal is kept: in a file on one machine, or in a database that several share."""
