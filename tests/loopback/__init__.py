"""The Globus Compute service on one machine, as test equipment.

The unmodified SDK, the unmodified endpoint and a real RabbitMQ meet a small web service of our own. Tests take the
fixture `loopback` (fixtures.py); a person runs ``python -m loopback`` (in tests/, or ``make loopback``).

=============  ===================================================================================================
faults.py      what goes wrong on purpose, and the record of what came in
service.py     the web service: REST, task groups, functions, sign-in
amqp.py        the service's connection to the broker; relay.py: the clients', which a test can cut
broker.py      RabbitMQ in a temporary folder
endpoint.py    a real endpoint in a temporary home, and how to kill its parts
transfer.py    Globus Transfer, a process of its own: transfer_service.py, transfer_state.py, transfer_work.py
guard.py       nothing that is started outlives the tests
stack.py       `Loopback`: all of it, and the environment that leads a client there
=============  ===================================================================================================

It proves our client and our endpoint folders. What the real service does beyond what SDK and endpoint ask for, its
limits above all, cannot be seen from here; those imitated are in faults.py.
"""
