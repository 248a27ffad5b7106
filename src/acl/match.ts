/**
 * Matches one rule against one peer. Allow rules match exactly, and only values in their canonical
 * form; deny rules match every way in which a value can be read.
 *
 * @module
 */

import { formatIp } from "../identity.ts";
import type { Rule } from "./rule.ts";
import type { PeerView } from "./view.ts";

/** The value of the peer that the rule matches; `undefined` if the rule does not match. */
export function matchRule({ side, pattern }: Rule, view: PeerView): string | undefined {
  const deny = side === "deny";
  switch (pattern.kind) {
    case "text": {
      const texts = view.texts[pattern.of];
      if (deny) return texts.lax().get(pattern.value);
      // With several CNs it is undefined which one is the peer's name, so no allow rule matches any
      // of them.
      if (pattern.of === "cn" && view.peer.commonNames.length > 1) return undefined;
      return texts.exact().get(pattern.value);
    }
    case "dns":
      return (deny ? view.laxDns() : view.dns()).find(pattern);
    case "ip": {
      const address = view.addresses().find(pattern);
      return address && formatIp(address);
    }
    case "uri":
      return (deny ? view.laxUris() : view.uris()).find(pattern);
    case "spki":
      return view.peer.spki === pattern.sha256 ? `sha256:${pattern.sha256}` : undefined;
    // deno-coverage-ignore -- the compiler knows that nothing else comes here
    default:
      return pattern satisfies never;
  }
}
