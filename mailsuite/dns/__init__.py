"""What we ask the domain name system, in our words and with our errors.

resolver.py  Resolver: MX, addresses, PTR, TXT...     hosts.py  /etc/hosts      client.py  a client's verified name
params.py    dns_servers
"""
