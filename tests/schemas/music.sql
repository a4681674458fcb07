-- A music shop with quoted CamelCase names throughout: the shape of a well-known sample. No text in it is long, and
-- much of it is about people. Rows are made up.
CREATE TABLE "Artist" ("ArtistId" int PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "Album" (
    "AlbumId" int PRIMARY KEY, "Title" varchar(160) NOT NULL, "ArtistId" int NOT NULL REFERENCES "Artist"
);
CREATE TABLE "Genre" ("GenreId" int PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "MediaType" ("MediaTypeId" int PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "Track" (
    "TrackId" int PRIMARY KEY, "Name" varchar(200) NOT NULL, "AlbumId" int REFERENCES "Album",
    "MediaTypeId" int NOT NULL REFERENCES "MediaType", "GenreId" int REFERENCES "Genre", "Composer" varchar(220),
    "Milliseconds" int NOT NULL, "Bytes" int, "UnitPrice" numeric(10, 2) NOT NULL
);
CREATE TABLE "Playlist" ("PlaylistId" int PRIMARY KEY, "Name" varchar(120));
CREATE TABLE "PlaylistTrack" (
    "PlaylistId" int NOT NULL REFERENCES "Playlist", "TrackId" int NOT NULL REFERENCES "Track",
    PRIMARY KEY ("PlaylistId", "TrackId")
);
CREATE TABLE "Employee" (
    "EmployeeId" int PRIMARY KEY, "LastName" varchar(20) NOT NULL, "FirstName" varchar(20) NOT NULL,
    "Title" varchar(30), "ReportsTo" int REFERENCES "Employee", "BirthDate" timestamp, "Address" varchar(70),
    "Phone" varchar(24), "Email" varchar(60)
);
CREATE TABLE "Customer" (
    "CustomerId" int PRIMARY KEY, "FirstName" varchar(40) NOT NULL, "LastName" varchar(20) NOT NULL,
    "Company" varchar(80), "Address" varchar(70), "City" varchar(40), "Country" varchar(40), "PostalCode" varchar(10),
    "Phone" varchar(24), "Fax" varchar(24), "Email" varchar(60) NOT NULL, "SupportRepId" int REFERENCES "Employee"
);
CREATE TABLE "Invoice" (
    "InvoiceId" int PRIMARY KEY, "CustomerId" int NOT NULL REFERENCES "Customer", "InvoiceDate" timestamp NOT NULL,
    "BillingAddress" varchar(70), "BillingCountry" varchar(40), "Total" numeric(10, 2) NOT NULL
);

INSERT INTO "Artist" SELECT n, 'Band Number ' || n FROM generate_series(1, 30) AS n;
INSERT INTO "Album" SELECT n, 'Songs of the Sea, Part ' || n, 1 + n % 30 FROM generate_series(1, 60) AS n;
INSERT INTO "Genre" SELECT n, (ARRAY['Rock', 'Jazz', 'Metal', 'Blues'])[n] FROM generate_series(1, 4) AS n;
INSERT INTO "MediaType" SELECT n, (ARRAY['MPEG audio file', 'AAC audio file'])[n] FROM generate_series(1, 2) AS n;
INSERT INTO "Track"
SELECT n, 'Track Title ' || n, 1 + n % 60, 1 + n % 2, 1 + n % 4, CASE WHEN n % 4 > 0 THEN 'Writer ' || n END,
       180000 + n, 4000000 + n, 0.99
  FROM generate_series(1, 300) AS n;
INSERT INTO "Playlist" SELECT n, 'Playlist ' || n FROM generate_series(1, 6) AS n;
INSERT INTO "PlaylistTrack" SELECT 1 + n % 6, n FROM generate_series(1, 300) AS n;
INSERT INTO "Employee"
SELECT n, 'Last' || n, 'First' || n, 'Sales Support Agent', NULL, '1970-01-01', n || ' Harbour Road',
       '+49 30 555-01' || n, 'staff' || n || '@example.org'
  FROM generate_series(10, 17) AS n;
INSERT INTO "Customer"
SELECT n, 'First' || n, 'Last' || n, NULL, n || ' Market Street', 'Berlin', 'Germany', '10' || n, '+49 30 555-02' || n,
       NULL, 'guest' || n || '@example.org', 10 + n % 8
  FROM generate_series(100, 158) AS n;
INSERT INTO "Invoice"
SELECT n, 100 + n % 59, timestamp '2026-01-01' + n * interval '1 day', n || ' Market Street', 'Germany', n * 0.99
  FROM generate_series(1, 100) AS n;
