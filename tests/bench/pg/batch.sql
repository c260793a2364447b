\set tenant random(1, 1000)
\set event random(1, 2000000000)
INSERT INTO event (tenant, event_key, body) SELECT :tenant, 'update:' || :event || ':' || :client_id || ':' || row, repeat('y', 600) FROM generate_series(1, 64) AS row ON CONFLICT DO NOTHING;
