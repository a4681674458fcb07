-- Composite keys, names that need quotes, two schemas with a table of one name, types that have no exact form, ready
-- vectors, and what must not leave: a key that is an e-mail address, contents that look personal under harmless names.
CREATE SCHEMA "Back Office";
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE ward (site text, number int, title text NOT NULL, PRIMARY KEY (site, number));
CREATE TABLE "Back Office"."Work Orders" (
    "Site" text NOT NULL, "Order No." bigint NOT NULL, "Ward #" int NOT NULL, "what to do" text NOT NULL,
    "100% sure?" boolean, "data" text, "{odd}" text, "Cost" money, "Exact" numeric, "Span" int4range,
    "Reach" text, "who called" varchar(40), "payload" jsonb, "deleted" boolean NOT NULL DEFAULT false,
    "Größe" int, "__hidden" int,
    "Updated At" timestamp NOT NULL DEFAULT '2026-01-01', PRIMARY KEY ("Site", "Order No."),
    FOREIGN KEY ("Site", "Ward #") REFERENCES ward
);
CREATE TABLE notes (
    "Author's mail" text PRIMARY KEY, body text NOT NULL, password text, created_by inet,
    deleted_at timestamptz, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE "Back Office".notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL, big bigint);
CREATE TABLE passages (
    doc int, part int, passage text NOT NULL, embedding vector(12), other real[], ratings real[],
    PRIMARY KEY (doc, part)
);
CREATE TABLE ward_passage (
    site text, number int, doc int, part int, since date, PRIMARY KEY (site, number, doc, part),
    FOREIGN KEY (site, number) REFERENCES ward, FOREIGN KEY (doc, part) REFERENCES passages
);
CREATE TABLE heap (word text);

INSERT INTO ward SELECT s, n, 'Ward ' || s || n FROM unnest(ARRAY['north', 'south']) AS s, generate_series(1, 5) AS n;
INSERT INTO "Back Office"."Work Orders"
SELECT CASE n % 2 WHEN 0 THEN 'north' ELSE 'south' END, n, 1 + n % 5,
       'Please replace the filter number ' || n || ' in the corridor and write down when and how it was done',
       n % 2 = 0, 'entry ' || n, 'brace ' || n, n, 1.0 / (n + 2), int4range(n, n + 5), '+49 (30) 555-' || n, 'x' || n,
       '{"a": 1}', n % 20 = 0, n, n
  FROM generate_series(100, 220) AS n;
INSERT INTO notes
SELECT 'writer' || n || '@example.org', 'A note about the evening round, number ' || n || ', with many words in it',
       'hunted-for', '192.0.2.1', CASE WHEN n % 10 = 0 THEN now() END
  FROM generate_series(1, 50) AS n;
INSERT INTO "Back Office".notes (body, big)
SELECT 'An internal note about supplies, number ' || n || ', which has enough words to be long', 9007199254740993 + n
  FROM generate_series(1, 40) AS n;
INSERT INTO passages
SELECT d, p, 'A passage from document ' || d || ', part ' || p || ', that says this and that about the house rules',
       ('[' || array_to_string(array(SELECT sin(d * 31 + p * 7 + k) FROM generate_series(1, 12) AS k), ',') || ']')::vector,
       array(SELECT cos(d + p + k)::real FROM generate_series(1, 16) AS k),
       array(SELECT k::real FROM generate_series(1, 1 + d % 3) AS k)
  FROM generate_series(1, 10) AS d, generate_series(1, 6) AS p;
INSERT INTO ward_passage SELECT 'north', 1, d, 1 FROM generate_series(1, 10) AS d;
INSERT INTO heap SELECT 'word ' || n FROM generate_series(1, 10) AS n;
