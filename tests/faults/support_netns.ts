/**
 * Two hosts on one machine: network namespaces that are made for one row, and gone with its processes,
 * whatever becomes of them. Nothing of the machine's own network is touched: all of it happens in a
 * namespace of its own, where the client daemon, its users and the backend are; the server daemon is on
 * the far host. They are joined by a wire that the row holds in its hands, and by a second one that
 * always works, for the backend and the metrics.
 *
 * @module
 */

import { type DaemonOptions, TestBed } from "../support/testbed.ts";
import { startDaemon, type TestDaemon } from "../support/daemon.ts";
import { sh } from "../support/peers.ts";
import { NotRun } from "./row.ts";
import { NetnsWire } from "./support_netns_wire.ts";

/** The far host, on the wire that may fail. */
const FAR = "10.0.0.2";
/** Both hosts, on the wire that does not. */
const SIDE_NEAR = "10.0.1.1";
const SIDE_FAR = "10.0.1.2";

/** How TCP reacts to loss on both hosts. */
export const CONGESTION_CONTROL = "reno";

/** No host may send by itself, as IPv6 does. */
const QUIET = "for all in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$all; done";

const SETUP = `set -e
${QUIET}
ip link set lo up
ip netns add far
nsenter --net=/run/netns/far sh -c '${QUIET}'
ip -n far link set lo up
ip tuntap add dev wire0 mode tun
ip tuntap add dev wire1 mode tun
ip link set wire0 txqueuelen 2000
ip link set wire1 txqueuelen 2000
ip link add side0 type veth peer name side1 netns far
ip addr add ${SIDE_NEAR}/24 dev side0
ip link set side0 up
ip -n far addr add ${SIDE_FAR}/24 dev side1
ip -n far link set side1 up`;

const JOIN = `set -e
ip addr add 10.0.0.1/24 dev wire0
ip link set wire0 up
ip link set wire1 netns far
ip -n far addr add ${FAR}/24 dev wire1
ip -n far link set wire1 up`;

async function setUp(script: string): Promise<void> {
  const { code, stderr } = await sh(script);
  if (code !== 0) throw new NotRun(stderr.trim());
}

/** Both hosts and the wire between them. */
export class Hosts implements AsyncDisposable {
  /** The wire that may fail. */
  readonly wire: NetnsWire;
  /** Where the daemons' files are. */
  readonly testBed: TestBed;
  /** Where a backend listens, on the near host. */
  readonly backendHost: string = SIDE_NEAR;

  private constructor(wire: NetnsWire, testBed: TestBed) {
    this.wire = wire;
    this.testBed = testBed;
  }

  /**
   * Makes them, in the namespace of this process.
   *
   * @throws {NotRun} with the system's words where it does not allow that.
   */
  static async create(): Promise<Hosts> {
    await setUp(SETUP);
    const wire = NetnsWire.open("wire0", "wire1");
    await setUp(JOIN);
    const hosts = new Hosts(wire, await TestBed.create());
    // Every kernel has it, and it minds what is lost; the machine's own choice may not (BBR), and
    // then figures could not be compared.
    await hosts.sysctl("tcp_congestion_control", CONGESTION_CONTROL);
    return hosts;
  }

  /** A setting of TCP, on both hosts. */
  async sysctl(name: string, value: number | string): Promise<void> {
    const set = `echo ${value} >/proc/sys/net/ipv4/${name}`;
    await setUp(`set -e; ${set}; nsenter --net=/run/netns/far sh -c '${set}'`);
  }

  /** Packets that the devices themselves have dropped, which the wire never saw. */
  async dropped(): Promise<number> {
    let sum = 0;
    for (const link of ["ip -j -s link show wire0", "ip -n far -j -s link show wire1"]) {
      const [device] = JSON.parse((await sh(link)).stdout);
      sum += device.stats64.tx.dropped + device.stats64.rx.dropped;
    }
    return sum;
  }

  /** What `ss` says of the timers of the far daemon's wire connections. */
  async farSockets(): Promise<string> {
    return (await sh(`nsenter --net=/run/netns/far ss -Htno src ${FAR}`)).stdout;
  }

  /** The same of the near daemon's. */
  async nearSockets(): Promise<string> {
    return (await sh(`ss -Htno dst ${FAR}`)).stdout;
  }

  /** The client daemon here, the server daemon there, and behind it the backend at `target`. */
  async tunnel(
    target: string,
    options: DaemonOptions = {},
  ): Promise<{ readonly server: TestDaemon; readonly client: TestDaemon }> {
    const { testBed } = this;
    const { ca, server: cert, serverKey: key } = testBed.files;
    const server = testBed.use(
      await startDaemon({
        dir: testBed.dir,
        wrapper: ["nsenter", "--net=/run/netns/far"],
        config: {
          mode: "server",
          listen: `${FAR}:0`,
          target,
          health: { enabled: true, listen: `${SIDE_FAR}:0` },
          metrics: { enabled: true, listen: `${SIDE_FAR}:0` },
          ...options,
          tls: { ca, cert, key, ...options.tls },
        },
      }),
    );
    const client = await testBed.client(server.listen, {
      ...options,
      // What it learns of handshakes is the server's.
      tls: {},
    });
    return { server, client };
  }

  /** The daemons, the devices. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.testBed[Symbol.asyncDispose]();
    await this.wire[Symbol.asyncDispose]();
  }
}
