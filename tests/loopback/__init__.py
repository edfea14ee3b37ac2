"""The Globus Compute service on one machine, as test equipment.

The unmodified SDK, the unmodified endpoint and a real RabbitMQ meet a small web service of our own. Tests take the
fixture `loopback` (fixtures.py); a person runs ``python -m loopback`` (in tests/, or ``make loopback``).

=============  ===================================================================================================
faults.py      faults that a test sets, and the record of requests
service.py     the web service: REST, task groups, functions, sign-in
amqp.py        the service's connection to the broker; relay.py: the clients', which a test can cut
broker.py      RabbitMQ in a temporary folder
endpoint.py    a real endpoint in a temporary home, and how to kill its parts
transfer.py    Globus Transfer, a process of its own: transfer_service.py, transfer_state.py, transfer_work.py
flow_*.py      Globus Flows and Timers: flows_service.py, flow_rules.py, flow_state.py, flow_run.py, flow_actions.py
tokens.py      what tokens are good for
guard.py       keeps what is started from outliving the tests
stack.py       `Loopback`: all of it, and the environment that leads a client there
=============  ===================================================================================================

It tests our client and our endpoint folders. The real service's behaviour beyond the requests of SDK and endpoint, its
limits above all, cannot be seen here; the limits imitated are in faults.py.
"""
