DROP TABLE IF EXISTS event;
CREATE TABLE event (
    id bigserial PRIMARY KEY,
    tenant integer NOT NULL,
    event_key text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    body text NOT NULL,
    UNIQUE (tenant, event_key)
);
