-- What the station served, as watch fetched it: one hash of all its files, and a leaf whenever it is another one.

SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE strongroom.station_bundles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bundle text NOT NULL CHECK (bundle ~ '^[0-9a-f]{64}$'),
    origin text NOT NULL,
    created_at bigint NOT NULL
);
CALL strongroom.make_append_only('station_bundles');

-- Whether it was another one than before, and is recorded now.
CREATE FUNCTION strongroom.watch_station_bundle(origin text, bundle text, at bigint)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = strongroom, pg_temp AS $$
#variable_conflict use_column
DECLARE
    before text;
BEGIN
    SELECT b.bundle INTO before FROM station_bundles b WHERE b.origin = watch_station_bundle.origin ORDER BY b.id DESC LIMIT 1;
    IF before IS NOT DISTINCT FROM watch_station_bundle.bundle THEN
        RETURN false;
    END IF;
    INSERT INTO station_bundles (bundle, origin, created_at) VALUES (watch_station_bundle.bundle, watch_station_bundle.origin, at);
    PERFORM audit_append(json_build_object(
        'at', at, 'before', before, 'bundle', watch_station_bundle.bundle, 'origin', watch_station_bundle.origin,
        'type', 'strongroom/event/station-bundle/v1')::text);
    RETURN true;
END $$;
REVOKE EXECUTE ON FUNCTION strongroom.watch_station_bundle FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strongroom.watch_station_bundle TO strongroom_watch;
GRANT SELECT ON strongroom.station_bundles TO strongroom_watch, strongroom_api, strongroom_console;
