import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import java.util.List;

/** A TLS client by JSSE: PORT CA TIMES [STORE in PKCS #12]. Each time a request, a half-close within the answer, a change of keys. */
public class Client {
    private static final char[] NO_PASSWORD = "password".toCharArray();

    private static SSLContext context(String ca, String store) throws Exception {
        KeyStore trust = KeyStore.getInstance(KeyStore.getDefaultType());
        trust.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(ca))) {
            trust.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory trusts = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusts.init(trust);
        KeyManagerFactory keys = null;
        if (store != null) {
            KeyStore own = KeyStore.getInstance("PKCS12");
            try (InputStream in = new FileInputStream(store)) {
                own.load(in, NO_PASSWORD);
            }
            keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(own, NO_PASSWORD);
        }
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(keys == null ? null : keys.getKeyManagers(), trusts.getTrustManagers(), null);
        return context;
    }

    private static void once(SSLContext context, int port) throws Exception {
        try (SSLSocket s = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
            SSLParameters parameters = s.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName("localhost")));
            parameters.setProtocols(new String[] {"TLSv1.3"});
            s.setSSLParameters(parameters);
            s.startHandshake();
            long created = s.getSession().getCreationTime();
            s.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
            byte[] buffer = new byte[65536];
            long n = 0;
            for (int k; n < 1 << 20 && (k = s.getInputStream().read(buffer)) > 0;) // keys change while both halves are open
                n += k;
            s.shutdownOutput();
            for (int k; (k = s.getInputStream().read(buffer)) > 0;)
                n += k;
            System.out.println("bytes " + n + " resumed " + (created == last));
            last = created;
            Thread.sleep(2); // sessions of one millisecond could not be distinguished
        }
    }

    private static long last;

    public static void main(String[] arguments) throws Exception {
        Security.setProperty("jdk.tls.keyLimits", "AES/GCM/NoPadding KeyUpdate 2^16"); // keys change behind so many bytes
        SSLContext context = context(arguments[1], arguments.length > 3 ? arguments[3] : null);
        for (int i = Integer.parseInt(arguments[2]); i > 0; i--)
            once(context, Integer.parseInt(arguments[0]));
    }
}
