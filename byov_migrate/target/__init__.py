"""RushDB: the wire, delivery, provisioning, search. Only `delivery` makes a Receipt."""
