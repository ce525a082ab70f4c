import org.codelibs.opensearch.runner.OpenSearchRunner;

/** An OpenSearch node: its folder, its port, and settings as name=value. */
public class Node {
    public static void main(String[] args) throws Exception {
        new OpenSearchRunner().onBuild((number, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("transport.port", "0");
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
            for (int i = 2; i < args.length; i++) {
                String[] setting = args[i].split("=", 2);
                settings.put(setting[0], setting[1]);
            }
        }).build(OpenSearchRunner.newConfigs().basePath(args[0]).clusterName("tripgrid-test").numOfNode(1).useLogger());
        Thread.currentThread().join();
    }
}
