"""The files that `p2pfl deploy` writes. Knows text; knows no network."""

from string import Template

UNIT = Template("""\
# A node as a service. One instance for each folder below /etc/p2pfl: p2pfl@ward-3 is /etc/p2pfl/ward-3/node.toml.
#
#   cp p2pfl@.service /etc/systemd/system/
#   useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin p2pfl
#   install -d /etc/p2pfl/ward-3        # network.toml in /etc/p2pfl; node.toml and key in /etc/p2pfl/ward-3
#   chown -R p2pfl: /etc/p2pfl/ward-3 && chmod 600 /etc/p2pfl/ward-3/key
#   systemctl enable --now p2pfl@ward-3
#   journalctl -u p2pfl@ward-3 -f

[Unit]
Description=p2pfl node %i
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=10min
StartLimitBurst=10

[Service]
Type=exec
User=p2pfl
ExecStart=$program node --config /etc/p2pfl/%i/node.toml --out /var/lib/p2pfl/%i --resume --log json
StateDirectory=p2pfl/%i
StateDirectoryMode=0700
UMask=0077

# A node ends cleanly within 15 seconds. Exit code 2 means that somebody has to do something (a document, a full disk):
# starting again would not help. After a crash it goes on where it was.
TimeoutStopSec=30
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2

LimitNOFILE=$files
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
PrivateTmp=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes

[Install]
WantedBy=multi-user.target
""")

DOCKERFILE = """\
# A node in a container. Built in a checkout of p2pfl:  docker build -f DIR/Dockerfile -t p2pfl .
# Where a smaller torch is to be had (without CUDA, for example):  --build-arg TORCH="torch --index-url ..."

FROM python:3.11-slim
ARG TORCH=torch
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY p2pfl /src/p2pfl
RUN pip install --no-cache-dir -c /src/constraints.txt ${TORCH} \\
 && pip install --no-cache-dir -c /src/constraints.txt "/src[secure,privacy]" \\
 && rm -rf /src
USER 10001:10001
WORKDIR /run-of-node
STOPSIGNAL SIGTERM
ENTRYPOINT ["p2pfl"]
CMD ["--help"]
"""

COMPOSE_HEAD = Template("""\
# The nodes of $name, each in a container that sees its own key and nobody else's.
#
#   docker build -f $folder/Dockerfile -t p2pfl .     # in a checkout of p2pfl
#   docker compose -f $folder/compose.yaml up -d
#   docker compose -f $folder/compose.yaml logs -f    # one JSON object a line
#
# Containers run as the user who wrote this file, whom the keys belong to. A node whose data lie in a file needs that
# file, too: add it under `volumes`.

name: $project

services:
""")

SERVICE = Template("""\
  $node:
    image: p2pfl
    user: "$user"
    command: [$command]
    volumes:
$mounts
      - state-$node:/run-of-node
    healthcheck:
      test: [CMD, p2pfl, status, "$health"]
      interval: 30s
      timeout: 10s
      start_period: 60s
    restart: on-failure:10
    stop_grace_period: 30s
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    ulimits:
      nofile: {soft: $files, hard: $files}
    logging:
      options: {max-size: 10m, max-file: "3"}
$reach
""")
