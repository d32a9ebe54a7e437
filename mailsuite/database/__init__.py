"""Clients of databases: PostgreSQL, MySQL, SQLite, LDAP directories, memcached.

    driver = PgsqlDriver(["db1", "db2:5433"], user="mail", password=Secret(b"x"), database="mail")
    pool = Pool(driver, PoolOptions(timeout_s=10), warn=log.warning)
    rows = pool.run(lambda connection, deadline: connection.query(b"SELECT 1", deadline))     blocks: for commands
    rows = await pool.ask(lambda connection, deadline: ...)                                   in a thread of the pool
    pool.close()

pool.py       hosts with back-off, connections, threads      errors.py    what a driver may raise
pgsql.py, mysql.py, sqlite.py      SqlConnection: query, quote     ldap/    LdapConnection: search; filters, names
memcached.py  get, set, delete

A driver knows its places (where a server listens) and how to connect to one; a connection is used by one thread at a
time. The libraries (psycopg, pymysql) are imported when the first table needs them: `require_driver` says what to
install.
"""
